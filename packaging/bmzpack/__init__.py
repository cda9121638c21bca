"""Pack any Keras 3 model as a BioImage Model Zoo bundle, and run the bundle in the engines of its consumers."""
