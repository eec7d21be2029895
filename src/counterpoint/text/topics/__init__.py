"""Topics that answer a goal: corpora, phrases, the model, what it is compared with."""
