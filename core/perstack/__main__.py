"""`python -m perstack`."""

from perstack.cli.main import main

if __name__ == "__main__":
    main()
