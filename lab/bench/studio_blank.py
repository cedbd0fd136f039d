"""A Gradio page with one line on it, for comparison with the studio: `python -m lab.bench.studio_blank PORT`."""

import os
import signal
import sys
import threading


def serve(port: int) -> None:
    """Serve the page at 127.0.0.1 until SIGTERM, with the studio's own settings of the server."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when it is imported
    import gradio as gr

    with gr.Blocks(title="Blank", analytics_enabled=False) as demo:
        gr.HTML("<p>blank</p>", elem_id="blank")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = {"share": False, "quiet": True, "prevent_thread_lock": True, "ssr_mode": False, "footer_links": []}
    _, url, _ = demo.launch(server_name="127.0.0.1", server_port=port, inbrowser=False, **settings)
    print(f"blank: {url}", flush=True)
    stop.wait()
    demo.close(verbose=False)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
