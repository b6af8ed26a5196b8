from components.frontend import command

if __name__ == "__main__":
    command("close_run")
