"""What registering a toy version left behind for the tasks after it."""

from ur4rec.registry.register import Registration


def make_registration(version: str, tracking_uri: str) -> Registration:
    return Registration(
        name="ur4rec",
        version=version,
        alias="challenger",
        run_id="r",
        model_uri=f"models:/ur4rec/{version}",
        tracking_uri=tracking_uri,
    )
