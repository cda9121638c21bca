"""Will it open? The programs that open bundles, one file each, and their rules, applied to a bundle."""
