"""`python -m thumbline`: the command."""

from thumbline.pipeline.cli.launch import main

if __name__ == "__main__":
    main()
