"""The command line of the old training script of SASRec and the plain text retriever."""

from ur4rec.scripts.training_script import make_app

app = make_app("UR4RecV2")

if __name__ == "__main__":
    app()
