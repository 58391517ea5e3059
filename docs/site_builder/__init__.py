"""Makes the parts of the site that are drawn or listed from the code, so that they cannot differ from it."""
