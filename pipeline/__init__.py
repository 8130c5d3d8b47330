"""From raw thumbs logs to a preference-trained model and the evidence that it is better."""
