"""The command line of the old training script of the retriever with its memory, without SASRec."""

from ur4rec.scripts.training_script import make_app

app = make_app("UR4RecMoEMemory", needs_texts=False)

if __name__ == "__main__":
    app()
