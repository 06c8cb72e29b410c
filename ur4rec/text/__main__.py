"""`python -m ur4rec.text`: the commands of `ur4rec text`."""

from ur4rec.commands.text import text_app

if __name__ == "__main__":
    text_app(prog_name="python -m ur4rec.text")
