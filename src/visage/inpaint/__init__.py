"""Hair inpainting: what prepares its data, the encoder of hair texture, and the network that paints hair."""
