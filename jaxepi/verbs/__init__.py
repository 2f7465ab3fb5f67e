"""One file a verb: `ABOUT`, `add_options(parser)` and `run(options, config, workdir)`; light, so that help is fast."""
