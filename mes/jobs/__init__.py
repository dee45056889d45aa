"""Work that is done after a request was answered: kept in Postgres, done by any worker, never forgotten."""
