"""A registry of Experts that one hosts: who may do what, publishing, and what is found."""
