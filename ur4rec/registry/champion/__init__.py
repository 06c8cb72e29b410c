"""Who serves: promotion, rollback and their history."""
