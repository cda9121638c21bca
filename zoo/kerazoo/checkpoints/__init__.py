"""Official weights into Keras, tensor by tensor."""
