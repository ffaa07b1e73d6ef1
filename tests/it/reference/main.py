from fastapi import FastAPI
from pydantic import BaseModel
from typing import Literal

app = FastAPI()

class PixelRequest(BaseModel):
    x: int
    y: int
    channel: Literal["R", "G", "B"]
    value: int

@app.post("/pixel")
def receive_pixel(data: PixelRequest):
    if not (0 <= data.value <= 255):
        return {"error": "value must be between 0 and 255"}

    return {
        "status": "ok",
        "received": data
    }
