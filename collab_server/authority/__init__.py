"""Who signs in, who may and who is there: one package for each kind of authority."""
