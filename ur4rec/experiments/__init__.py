"""Many trainings side by side: ablations and tuning."""
