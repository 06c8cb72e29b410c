"""The commands of `ur4rec`; each calls the function that the pipeline component calls."""
