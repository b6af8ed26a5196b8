from components.frontend import command

if __name__ == "__main__":
    command("extract_features")
