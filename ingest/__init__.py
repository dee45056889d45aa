"""The doors through which work enters: worker processes (and, later, the API and the bus), thin edges on `mes`."""
