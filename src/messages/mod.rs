//! One-time notices for the visitor: Django's `messages`.
