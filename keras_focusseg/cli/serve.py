"""`focusseg serve`."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="Preset or folder that can be chosen, as often as wanted; by default the best of "
            "each network.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 127.0.0.1 is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.")] = 8000,
) -> None:
    """Serve a page to play with: drop a picture, see classes, confidence and what is inside.

    Uploads are limited to 20 MB and 4 megapixels, kept in memory only, and sent nowhere.

    Example: focusseg serve --port 8000
    """
    from keras_focusseg import presets
    from keras_focusseg.inference import serving

    names = preset or presets.best()
    for name in names:
        presets.record(name)  # a wrong name ends it at once
    with serving.make_server(serving.Demo(names, presets.load), host, port) as server:
        print(f"Listening at http://{host}:{server.server_address[1]}/, until Ctrl-C", flush=True)
        server.serve_forever()
