"""The command line of the old training script of the whole system: the same options, the same eleven files."""

from ur4rec.scripts.training_script import make_app

app = make_app("UR4RecV2MoE")

if __name__ == "__main__":
    app()
