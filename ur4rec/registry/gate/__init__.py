"""Whether a challenger may take the champion's place: scores both on the same targets and judges by rules."""
