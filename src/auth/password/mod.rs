//! Password hashes in every format of Django.
