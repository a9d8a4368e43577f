"""`python -m cinetune`."""

from cinetune.cli import main

if __name__ == "__main__":
    main()
