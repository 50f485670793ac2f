"""Real Flight SQL clients under one interface, what each of them is asked, and what has to come out: see README.md."""
