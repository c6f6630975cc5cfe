//! A Django site and ours, which show each other's messages.
