"""What a suite measures of its models: from their predictions, and from the models themselves."""
