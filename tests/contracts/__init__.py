"""What every class of a kind promises, checked on each class that is found."""
