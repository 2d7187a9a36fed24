"""The model servers that llmfleet can start by itself: llama.cpp and a simulated one."""
