//! Protection against cross-site request forgery: Django's `CsrfViewMiddleware`.
