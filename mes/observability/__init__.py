"""What the system tells about itself: logs."""
