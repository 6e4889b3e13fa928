"""The benchmark of credit assignment: what is run, how, and what is made of the results."""
