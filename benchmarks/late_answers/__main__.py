from benchmarks.late_answers.run import main

if __name__ == "__main__":
    main()
