"""What whole loads of the feeds must look like before anything is made of them; see `suites`."""
