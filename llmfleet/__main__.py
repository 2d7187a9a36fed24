"""`python -m llmfleet`, the same as the command `llmfleet`."""

from llmfleet.cli import main

if __name__ == "__main__":
    main()
