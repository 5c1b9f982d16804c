"""A cluster's life: what is asked for, what is there, what comes next."""
