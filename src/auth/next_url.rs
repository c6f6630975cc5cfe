//! Where a login leads: Django's `next`, `LOGIN_URL` and the rules against open redirects.
