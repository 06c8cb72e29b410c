"""Three texts of users."""

THREE = "Western titles are typical. The latest choices are drama. Alpha from the 1950s."
ONE = "Western titles are typical."
TWO = "The latest choices are drama. Delta from the 1990s."
