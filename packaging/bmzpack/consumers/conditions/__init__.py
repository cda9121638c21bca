"""What rules look for. A look finds the places of a bundle where something does not hold; which program minds, and how
much, is said in the files of the consumers."""
