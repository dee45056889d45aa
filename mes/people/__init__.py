"""Who works here: users and their roles, how they sign in, and what each role may do."""
