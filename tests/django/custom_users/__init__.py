"""User models of a site's own. AUTH_USER_MODEL says which of them there is; the others are not made."""
