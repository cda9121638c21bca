"""Raw outputs of a network to class maps and label images."""
