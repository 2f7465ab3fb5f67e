"""The offline stage: genome and tracks in, a TFRecord dataset out. Never imports `jaxepi.train` or a model."""
