"""What people and programs ask for beside conversing: thin functions that the faces share."""
