//! What no recording shows: wrong set-ups, nesting, and the response that has begun.
