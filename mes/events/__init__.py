"""What has happened, told to others in order, and what others tell us, applied in order."""
