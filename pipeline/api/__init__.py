"""What `import thumbline` offers: prepare, evaluate, load and run, whose results hold frames and show in notebooks."""
